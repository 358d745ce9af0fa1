"""How many tasks must training hold before a model learns the law they come from, and not the tasks?"""
