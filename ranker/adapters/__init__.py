"""A `Ranker` where other libraries expect a reranker: one module a library, each with its base class
(docs/library.md). A library is needed only by its own module.
"""
