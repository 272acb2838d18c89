"""The report on an audit: its model, audit.json, and the page with its tables and figures."""
