"""Architecture search as a job: a data set and a budget in, a front of trained, verified networks out."""
