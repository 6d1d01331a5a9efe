"""Finds loop nests: search with a proven bound, the front of latency and energy, the memo.

`search` is the way in; `_task` is one search, `_labels` and `_label_prices` its kernels, `_polish`
the small steps at its end.
"""
