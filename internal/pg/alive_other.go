//go:build !(linux || darwin || freebsd)

package pg

// alive cannot be told here without reading: the next statement finds out.
func (w *wire) alive() bool { return true }
