"""The parts that jobs are made of. Parts may use Ray; they never import a job."""
