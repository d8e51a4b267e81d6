"""Speed, measured: the same work done by Downslope and by its peers, side by side on one machine."""
