"""Public data sets of measured latencies, read in their own formats: one file per format.

``accelsim import measured FORMAT FOLDER`` finds them by file name; each has a function
``read(folder) -> Imported``.
"""
