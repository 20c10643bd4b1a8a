// Text that fits its box. Widths are summed from single characters: measuring each label whole would cost more than
// drawing all the boxes.

export class TextFitter {
  private readonly widths = new Map<string, number>();
  private readonly ellipsis: number;

  constructor(private readonly context: CanvasRenderingContext2D) {
    this.ellipsis = this.characterWidth("…");
  }

  width(text: string): number {
    let sum = 0;
    for (const character of text) sum += this.characterWidth(character);
    return sum;
  }

  private characterWidth(character: string): number {
    let width = this.widths.get(character);
    if (width === undefined) {
      width = this.context.measureText(character).width;
      this.widths.set(character, width);
    }
    return width;
  }

  /** The text, or as much of its beginning as fits with an ellipsis; empty when not even three characters would. */
  fit(text: string, room: number): string {
    let sum = 0, whole = 0, shown = 0;
    for (const character of text) {
      sum += this.characterWidth(character);
      if (sum > room) return shown < 3 ? "" : `${text.slice(0, whole)}…`;
      if (sum + this.ellipsis <= room) {
        whole += character.length;
        shown++;
      }
    }
    return text;
  }
}
