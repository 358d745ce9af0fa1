"""The Memformer as functions of its parameters: configuration, forms, construction, inspection."""
