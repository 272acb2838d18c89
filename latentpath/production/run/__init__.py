"""A production run: a folder with a plan, a ledger, shards and, at the end, the set."""
