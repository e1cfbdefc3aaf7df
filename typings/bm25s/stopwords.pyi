STOPWORDS_EN_PLUS: tuple[str, ...]
