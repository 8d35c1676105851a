"""The report of a run: its drawings, pages and figures."""
