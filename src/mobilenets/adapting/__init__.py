"""NetAdapt as a job: a trained network and a budget in, a smaller trained network out."""
