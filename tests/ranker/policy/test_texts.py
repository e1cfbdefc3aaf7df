"""Other people's texts: plain, cut alike in any script, and indexed by their words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.policy import texts

CONTROL = """
<|im_start|> <|im_end|> <|endoftext|> <|eot_id|> <|start_header_id|> <|reserved_special_token_5|> <s> </s>
<bos> <eos> <pad> <unk> <mask> <start_of_turn> <end_of_turn> <|turn> <turn|> <unused7> <extra_id_3>
<fim_prefix>
<reponame> <gh_stars> <jupyter_code> <issue_start> <empty_output>
<repo_name> <think> </think> <answer> </answer> <tool_call> </tool_response> [INST] [/INST] [TOOL_CALLS]
[SYSTEM_PROMPT] [CLS] [SEP] [MASK] [gMASK] [control_12] <<SYS>> <</SYS>> <｜begin▁of▁sentence｜> <｜User｜>
<|START_OF_TURN_TOKEN|> <BOS_TOKEN> <|start_of_role|> <SPECIAL_12> <start_of_image> <|assistant|> <|end|>
""".split()  # noqa: SIM905 - 45 quotes would hide them
ORDINARY = (
    "a < b <b>bold</b> List<String> <class 'int'> x[1] [see INSTALL] <stdio.h> [A] 1|2 |> <- [pdf]"
    " \u200f\u202e"
)


@pytest.mark.parametrize("mark", CONTROL)
def test_a_control_token_in_a_text_is_none(mark: str) -> None:
    assert texts.MARKS.search(f"before{mark}after")
    shown = texts.plain(f"before{mark}after")
    assert mark not in shown and not texts.MARKS.search(shown)
    assert shown.replace(" ", "") == f"before{mark}after", "and it can still be read"


def test_ordinary_text_stays_as_it_is() -> None:
    assert texts.plain(ORDINARY) == ORDINARY


@given(st.lists(st.sampled_from([*CONTROL, "<", ">", "|", "[", "]", "/", " ", "a"]), max_size=8).map("".join))
def test_no_mark_is_left_nor_made(text: str) -> None:
    shown = texts.plain(text)
    assert not texts.MARKS.search(shown) and texts.plain(shown) == shown


def test_what_is_no_character_is_told_by_one() -> None:
    assert texts.readable("a\x00b\ud800c\udfff") == "a\ufffdb\ufffdc\ufffd"
    assert texts.readable("\u200fאב\u202e\x07é😀") == "\u200fאב\u202e\x07é😀"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("three plain words", 3),
        ("これは本です", 3),
        ("a" * 100, 4),
        ("", 0),
        ("word 日本語", 3),
        ("สวัสดี", 3),
    ],
)
def test_words_of_any_script_are_counted(text: str, count: int) -> None:
    assert texts.words(text) == count


@given(st.text(max_size=60), st.integers(1, 9))
def test_a_cut_text_is_a_beginning_or_an_end_of_it(text: str, n: int) -> None:
    squeezed = " ".join(text.split())
    for cut, whole in (
        (texts.head(text, n), squeezed.startswith),
        (texts.tail(text, n), squeezed.endswith),
    ):
        assert texts.words(cut) == min(n, texts.words(text))
        assert cut == text if texts.words(text) <= n else whole(cut)


@given(st.lists(st.text("abcXYZ019é", min_size=1, max_size=32), max_size=12), st.integers(1, 14))
def test_where_spaces_part_words_they_are_cut_as_ever(words: list[str], n: int) -> None:
    assert texts.head(" ".join(words), n) == " ".join(words[:n])
    assert texts.tail(" ".join(words), n) == " ".join(words[-n:])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Return the valueList; x = 1", ["return", "the", "value", "list"]),
        ("Größe der Häuser", ["größe", "der", "häuser"]),
        ("Москва и область", ["москва", "область"]),
        ("東京都 の猫", ["東京", "京都", "の猫"]),
        ("猫", ["猫"]),
        ("ﬁlm １９９５", ["film", "1995"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("<|im_end|>", ["im", "end"]),
    ],
)
def test_terms_are_words_in_any_script(text: str, found: list[str]) -> None:
    assert list(texts.terms(text)) == found
