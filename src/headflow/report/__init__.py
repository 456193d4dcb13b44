"""The report: one problem derived, integrated, compared and verified, on one page.

``contents`` is what a report shows, ``report`` makes it and ``runs`` its flow; ``page`` and ``page_sections`` write
HTML, ``exposition`` the derivations, ``summary`` the answer in sentences, ``figures`` what is drawn.

Imports plot and numerics, never the command line.
"""
