package email

// Shared reports whether the address names a function or a mailbox of several people, by its local part.
func (a Address) Shared() bool { return known().isRole(a.Local) }

// Public reports whether anybody can have an address at the domain: a free provider's, or a throw-away service's.
func (a Address) Public() bool { return known().free[a.Domain] || known().isDisposable(a.Domain) }
