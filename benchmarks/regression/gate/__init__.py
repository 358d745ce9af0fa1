"""Is this checkout slower than another commit, or its test loss worse?"""
