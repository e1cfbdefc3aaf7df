"""Studies: several ways of training a policy, compared on the same frozen test queries: one table
and one plot.

`design` says what runs, `scores` reads what came of it, `results` writes it down; every other module is one
study: its arms and the claims that it tests. The flows that run them are in flows/studies.py.
"""
