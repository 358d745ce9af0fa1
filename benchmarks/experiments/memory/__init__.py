"""Which memory reaches its floor, and after how many steps."""
