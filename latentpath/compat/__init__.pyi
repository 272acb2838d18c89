from latentpath.compat.plan import get_privacy_path as get_privacy_path
