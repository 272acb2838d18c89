"""Can a person be recognised?"""
