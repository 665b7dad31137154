"""A workbook in a browser or a notebook: its sheets as they are, live, with torch beside each number."""
