"""Does the learning rate that Downslope chooses hold up against the best there is?"""
