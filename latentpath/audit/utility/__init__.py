"""Are models trained on it any good?"""
