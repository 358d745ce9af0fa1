"""The site: runs, studies and the paper's verdicts as pages that need no server and ask no host for anything."""
