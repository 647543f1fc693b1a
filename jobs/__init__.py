"""Entry points, one per verb. Each main function lists the steps of its job; the steps are in jobs/parts."""
