// Writes conversations by the TEMPLATE of a Modelfile, as Ollama does with Go's own text/template:
// go run go_template.go MODELFILE < conversations.json
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type Message struct{ Role, Content string }

func main() {
	file, err := os.ReadFile(os.Args[1])
	check(err)
	parts := strings.Split(string(file), `"""`)
	parsed, err := template.New("").Parse(parts[1])
	check(err)
	var conversations [][]Message
	check(json.NewDecoder(os.Stdin).Decode(&conversations))
	texts := []string{}
	for _, messages := range conversations {
		var text strings.Builder
		check(parsed.Execute(&text, map[string]any{"Messages": messages}))
		texts = append(texts, text.String())
	}
	check(json.NewEncoder(os.Stdout).Encode(texts))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
