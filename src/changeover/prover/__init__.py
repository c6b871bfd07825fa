"""PROOF     the prover process: verification of hostile files, the gates, comparison of answers."""
