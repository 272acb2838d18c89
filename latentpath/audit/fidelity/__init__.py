"""Does it look like the real data, and cover it?"""
