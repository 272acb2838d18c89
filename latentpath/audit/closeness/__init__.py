"""Does the set come closer to the people behind it than to others?"""
