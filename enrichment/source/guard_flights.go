package source

import (
	"context"
	"sync"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// flights lets equal calls under way at one time be one call.
type flights struct {
	mu     sync.Mutex
	under  map[string]*flight
	ended  context.Context
	end    context.CancelFunc
	active sync.WaitGroup
}

// flight is one call with those who wait for it.
type flight struct {
	done    chan struct{}
	answer  pipeline.Answer
	broke   any // what the call panicked with
	waiters int
	cancel  context.CancelFunc
}

func newFlights() *flights {
	ctx, cancel := context.WithCancel(context.Background())
	return &flights{under: map[string]*flight{}, ended: ctx, end: cancel}
}

// do joins the call of this key or starts it. A waiter that leaves does not
// end the call for the others; the last one to leave does.
func (f *flights) do(ctx context.Context, a pipeline.Ask, key string, slice time.Duration, call func(context.Context) pipeline.Answer) pipeline.Answer {
	f.mu.Lock()
	fl := f.under[key]
	if fl == nil {
		flightCtx, cancel := context.WithTimeout(f.ended, slice)
		fl = &flight{done: make(chan struct{}), cancel: cancel}
		f.under[key] = fl
		f.active.Add(1)
		go f.fly(flightCtx, fl, key, call)
	}
	fl.waiters++
	f.mu.Unlock()

	defer f.leave(fl, key)
	var ans pipeline.Answer
	select {
	case <-fl.done:
		if fl.broke != nil {
			panic(fl.broke) // on the goroutine of whoever asked, where the runner takes it as a loss and tells the log
		}
		ans = fl.answer
	case <-ctx.Done():
		ans = lossOf(a, pipeline.LossTimeout, "no answer within the slice")
	}
	ans.Ask = a
	return ans
}

func (f *flights) leave(fl *flight, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiters--; fl.waiters == 0 {
		fl.cancel()
		if f.under[key] == fl {
			delete(f.under, key)
		}
	}
}

func (f *flights) fly(ctx context.Context, fl *flight, key string, call func(context.Context) pipeline.Answer) {
	defer f.active.Done()
	defer fl.cancel()
	defer func() {
		fl.broke = recover()
		f.mu.Lock()
		if f.under[key] == fl {
			delete(f.under, key)
		}
		f.mu.Unlock()
		close(fl.done)
	}()
	fl.answer = call(ctx)
}

// close ends every call under way and waits for them.
func (f *flights) close() {
	f.end()
	f.active.Wait()
}
