// loop.go MOUNTPOINT SLUG [ROWS.jsonl] - train on corrected rows, measure, promote if the gate lets it.
// go run loop.go: standard library only. STEP="step epochs=1" in the environment changes how it trains.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

var slug string

func must[T any](value T, err error) T {
	if err != nil {
		why, _ := os.ReadFile(filepath.Join(slug, "error"))
		fmt.Fprintln(os.Stderr, err, string(why))
		os.Exit(1)
	}
	return value
}

func read(name string) string {
	return strings.TrimSpace(string(must(os.ReadFile(filepath.Join(slug, name)))))
}

// A line written to ctl is a command; when it is refused, `error` beside it holds the sentence.
func write(name, text string) (int, error) {
	f := must(os.OpenFile(filepath.Join(slug, name), os.O_WRONLY, 0))
	defer f.Close()
	return f.WriteString(text)
}

// Start a job and read `wait`, which answers when it is over: "12 step ok rev=v1 k=- pass=- elapsed=31.4"
func job(line string) string {
	must(write("ctl", line+"\n"))
	end := read("wait")
	fmt.Println(end)
	if word := strings.Fields(end); word[2] == "ok" {
		return strings.TrimPrefix(word[3], "rev=")
	}
	os.Exit(1)
	return ""
}

func main() {
	if len(os.Args) < 3 {
		must(0, errors.New("usage: loop MOUNTPOINT SLUG [ROWS.jsonl]"))
	}
	slug = filepath.Join(os.Args[1], os.Args[2])
	if len(os.Args) > 3 {
		must(write("captures.jsonl", string(must(os.ReadFile(os.Args[3])))))
	}
	rev := job(cmp.Or(os.Getenv("STEP"), "step"))
	job("eval " + rev)
	var measured struct{ Passed, Total, K float64 }
	must(0, json.Unmarshal([]byte(read("revisions/"+rev+"/eval.json")), &measured))
	fmt.Printf("measured: %v of %v, K %v\n", measured.Passed, measured.Total, measured.K)

	if _, err := write("ctl", "promote "+rev+"\n"); errors.Is(err, syscall.ERANGE) {
		fmt.Println("refused by the gate:", read("error"))
	} else {
		must(0, err)
		fmt.Println("promoted", rev)
	}
	fmt.Println("HEAD is", read("HEAD"))

	// `run` is written and then read on the same open file
	f := must(os.OpenFile(filepath.Join(slug, "run"), os.O_RDWR, 0))
	must(f.WriteString(`{"text":"Hello, this is Maria Lopez, order 48213. Where is my parcel?"}`))
	answer := make([]byte, 1<<20)
	fmt.Print(string(answer[:must(f.Read(answer))]))
}
