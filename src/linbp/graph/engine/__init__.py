"""From a graph and a plan of rules to a network that gives the rules' gradients."""
