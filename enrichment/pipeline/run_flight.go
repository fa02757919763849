package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// away runs call with a slice of time on a goroutine of its own and delivers
// exactly one value: what call answered; or late(), when call did not come
// back within the slice and the grace; or broken(), when it panicked. A call
// that ignores its context is abandoned: it keeps its goroutine until it
// returns, and Runner.Abandoned counts it meanwhile. deliver must not block.
func away[T any](r *Runner, ctx context.Context, slice, grace time.Duration, call func(context.Context) T, late, broken func() T, deliver func(T)) {
	ctx, cancel := context.WithTimeout(ctx, slice)
	back := make(chan T, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				r.panicked("outside call", v)
				back <- broken()
			}
		}()
		back <- call(ctx)
	}()
	go func() {
		defer cancel()
		select {
		case v := <-back:
			deliver(v)
			return
		case <-ctx.Done():
		}
		patience := time.NewTimer(grace)
		defer patience.Stop()
		select {
		case v := <-back:
			deliver(v)
			return
		case <-patience.C:
		}
		r.abandoned.Add(1)
		deliver(late())
		<-back
		r.abandoned.Add(-1)
	}()
}

func (r *Runner) panicked(where string, v any) {
	if r.OnPanic != nil {
		r.OnPanic(where, fmt.Sprintf("%v\n%s", v, debug.Stack()))
	}
}

// lost is the Answer of an Ask that brought nothing back.
func lost(a Ask, loss Loss, detail string, at time.Time) Answer {
	return Answer{Ask: a, URL: a.URL, Loss: loss, Detail: detail, FetchedAt: at}
}
