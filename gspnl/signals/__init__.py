"""Operations on the signals of a graph: denoise, inpaint, propagate labels, cluster, measure."""
