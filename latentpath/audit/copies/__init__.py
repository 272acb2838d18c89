"""Is any image a copy of a real one?"""
