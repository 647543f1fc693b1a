"""What the jobs are made of. Parts may use Ray; they never import a job."""
