"""The ops: one file each, with its public function, checks, bodies, kernel launch and gradient."""
