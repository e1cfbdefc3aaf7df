"""The six stages. Each meets the others through tables of the lake and imports none of them; run.py is
what they share.
"""
