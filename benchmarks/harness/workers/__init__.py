"""Worker processes, their limits, and Dask clusters."""
