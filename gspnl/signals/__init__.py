"""What is done with signals on a graph: denoise, inpaint, propagate labels, cluster, measure."""
