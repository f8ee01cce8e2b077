"""Views of run records: the console table and the HTML report."""
