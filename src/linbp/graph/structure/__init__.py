"""What a captured graph holds: sites, residual blocks, pools, attention and feature maps."""
