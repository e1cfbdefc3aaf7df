"""What Streamlit runs: the pages in their menu. Started by `ranker ui`."""

from __future__ import annotations

import streamlit as st

from ranker.ui import pages


def main() -> None:
    """Lay out the menu, and show the page that is asked for."""
    st.set_page_config("r1-ranker", layout="wide")
    menu = [
        st.Page(pages.runs, title="Runs", default=True),
        st.Page(pages.episodes, title="Episodes"),
        st.Page(pages.compare, title="Compare"),
        st.Page(pages.contracts, title="Contracts"),
        st.Page(pages.ask, title="Questions", url_path="questions"),
        st.Page(pages.training, title="Training"),
    ]
    st.navigation(menu).run()


main()
