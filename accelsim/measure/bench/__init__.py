"""The reference back-end: measures operators, blocks and whole models on a GPU or CPU.

Runs from a plain checkout with python3, numpy and torch alone: no module here imports another
room but `accelsim.errors`, and only `torch_backend` imports torch.
"""
