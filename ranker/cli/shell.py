"""A prompt on the lake: SQL that only reads, ended by a semicolon, and a few commands that start with a
dot.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ranker.cli.interrupts import forget
from ranker.errors import BadQuery, RankerError
from ranker.lake import Lake
from ranker.lake.questions import question, questions

HELP = """SQL ends with a semicolon; it may only read.
.tables        tables and views, with what they hold
.schema NAME   columns of one of them, with what they hold
.questions     worked questions (sql/adhoc)
.ask NAME      print one of them, and its answer
.quit          leave (or Ctrl-D)"""


class Shell:
    """Reads lines, answers statements.

    `ask(prompt)` gives a line or raises EOFError; `show`, `say` and `fail` print.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        show: Callable[[pl.DataFrame], None],
        say: Callable[[str], None],
        fail: Callable[[RankerError], None],
    ) -> None:
        self._lake, self._show, self._say, self._fail = lake, show, say, fail
        self.failures = 0

    def run(self, ask: Callable[[str], str]) -> None:
        """Until the input ends or says .quit.

        A mistake is told, counted, and the prompt goes on; Ctrl-C drops what was begun.
        """
        begun: list[str] = []
        while True:
            try:
                line = ask("  …> " if begun else "lake> ")
            except KeyboardInterrupt:
                forget()
                begun = []
                continue
            except EOFError:
                break
            if not begun and line.strip() in (".quit", ".exit"):
                return
            begun = self._take([*begun, line])
        self._take([*begun, ";"] if "".join(begun).strip() else [])

    def _take(self, begun: list[str]) -> list[str]:
        """Answer what is whole; gives the lines of what is not."""
        text = "\n".join(begun).strip()
        dotted = text.startswith(".")
        if not dotted and not text.endswith(";"):
            return begun if text else []
        try:
            if dotted:
                self._command(*text[1:].split())
            elif text.strip("; \n"):
                self._show(self._lake.query(text))
        except RankerError as error:
            self.failures += 1
            self._fail(error)
        return []

    def _command(self, name: str = "", *given: str) -> None:
        if name == "tables":
            self._show(self._lake.named("lake/relations"))
        elif name == "schema" and given:
            self._show(self._lake.named("lake/columns", {"name": given[0]}))
        elif name == "questions":
            self._show(pl.DataFrame({"name": list(questions()), "question": list(questions().values())}))
        elif name == "ask" and given:
            self._say(question(given[0]))
            self._show(self._lake.query(question(given[0])))
        elif name == "help":
            self._say(HELP)
        else:
            raise BadQuery(
                "a command of the shell must be known",
                seen=f".{' '.join((name, *given))}",
                remedy=".help lists them",
            )
