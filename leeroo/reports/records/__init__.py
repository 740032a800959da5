"""Reports of typed records: extracted fields, and decisions."""
