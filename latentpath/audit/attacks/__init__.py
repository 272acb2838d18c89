"""Can one tell who is behind the set?"""
