"""The gate: has a change made something slower, or its test loss worse, than the commit it is based on?"""
