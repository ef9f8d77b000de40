"""What the scripts share. The networks themselves stand in the scripts; a reader may skip this folder."""
