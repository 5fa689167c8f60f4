"""What every suite outside the process uses: starting `purlin up`, calling kubectl, waiting, and free ports."""
