-- The menus: Tools > certhash, and in Wireshark 4.2 and later the context menu of a packet.
--
-- All of Wireshark's functions come in through `gui` (see the end of certhash.lua), so that tests need no window.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local story, visible = others.story, others.visible

local RANK = { mismatch = 1, rejected = 2, match = 3, unlisted = 4 }

-- The orders of the list: findings first, by time, by head-end.
local ORDERS = {
    function(a, b) return (RANK[a.verdict] or 5) < (RANK[b.verdict] or 5) end,
    function(a, b) return a.first < b.first end,
    function(a, b) return a.server < b.server end,
}

-- Return the names of all devices that use a head-end, as far as they were collected.
local function phones(told)
    local names = {}
    for i, entry in ipairs(told) do
        names[i] = visible.text(entry.file.device, 60)
    end
    if told.more then
        names[#names + 1] = "and others"
    end
    return #names > 0 and table.concat(names, ", ") or "-"
end

-- Return one row for each head-end, server name and chain:
-- { server, shown, chain, verdict, found, first, count, refused, devices }.
local function rows(gui, order)
    local by_key, list = {}, {}
    for _, handshake in ipairs(gui.handshakes()) do
        local sent, server = handshake.server_sent, handshake.server
        local hashes = {}
        for i, certificate in ipairs(sent.chain) do
            hashes[i] = certificate.sha1
        end
        local where = gui.endpoint(server)
        local key = table.concat({ where, handshake.server_name or "", table.concat(hashes, " ") }, "\0")
        local row = by_key[key]
        if not row then
            -- Some rows differ only in the server name.
            local name = handshake.server_name and " " .. visible.text(handshake.server_name, 100) or ""
            row = { server = where, shown = where .. name, chain = sent.chain, first = sent.frame }
            row.count, row.refused = 0, 0
            by_key[key], list[#list + 1] = row, row
        end
        row.count = row.count + 1
        row.refused = row.refused + (sent.refusal and 1 or 0)
        row.last = handshake
    end
    for _, row in ipairs(list) do
        -- Judge the last handshake: by then, all cnf files of the capture are known.
        local found = gui.judge(row.last)
        row.found, row.verdict = found, found and found.verdict or "?"
        row.devices = found and phones(found.told) or "-"
    end
    local before = ORDERS[order or 1]
    table.sort(list, function(a, b)
        if before(a, b) or before(b, a) then
            return before(a, b)
        end
        return a.first < b.first
    end)
    return list
end

-- Return lines of cells as columns.
local function set(lines)
    local widths, out = {}, {}
    for _, cells in ipairs(lines) do
        for i, cell in ipairs(cells) do
            widths[i] = math.max(widths[i] or 0, #cell)
        end
    end
    for _, cells in ipairs(lines) do
        local padded = {}
        for i, cell in ipairs(cells) do
            padded[i] = i < #cells and cell .. (" "):rep(widths[i] - #cell) or cell
        end
        out[#out + 1] = table.concat(padded, "  ")
    end
    return table.concat(out, "\n")
end

-- Fold a line between words before Wireshark 4.0's window does, which breaks hashes at a / or a +.
local WIDEST = 70

local function folded(line, indent)
    local out, length = {}, math.huge
    for word in line:gmatch("%S+") do
        if length + 1 + #word > WIDEST then
            out[#out + 1] = indent .. (#out > 0 and "  " or "") .. word
            length = #out[#out]
        else
            out[#out] = out[#out] .. " " .. word
            length = length + 1 + #word
        end
    end
    return table.concat(out, "\n")
end

--- Return the text of the window: a row for each head-end and chain, then each finding once, with all its phones.
-- `order` is 1 (findings first), 2 (by frame) or 3 (by head-end).
function M.overview(gui, order)
    local list = rows(gui, order)
    -- Two lines per row: one would be too wide.
    local lines = { { "VERDICT", "FRAME", "SEEN", "REJECTED", "HEAD-END" }, { "", "", "", "", "CERTHASH" } }
    local reasons, known = {}, {}
    for _, row in ipairs(list) do
        lines[#lines + 1] = {
            row.verdict, ("%d"):format(row.first), ("%d"):format(row.count), ("%d"):format(row.refused),
            row.shown,
        }
        lines[#lines + 1] = { "", "", "", "", row.chain[1].sha1 }
        if row.found and (row.verdict ~= "unlisted" or row.refused > 0) then
            local reason = { folded(story.verdict(row.found, row.server, row.chain[1].sha1), "  ") }
            reason[2] = folded("phones: " .. row.devices, "  ")
            for _, doubt in ipairs(story.host_id(row.found)) do
                reason[#reason + 1] = folded("warning: " .. doubt, "  ")
            end
            for position, certificate in ipairs(row.chain) do
                reason[#reason + 1] = ("  certificate %d: %s"):format(position - 1, certificate.sha1)
                reason[#reason + 1] = "    " .. certificate.subject
            end
            local text = table.concat(reason, "\n")
            if not known[text] then
                known[text] = { text = text, rows = {} }
                reasons[#reasons + 1] = known[text]
            end
            table.insert(known[text].rows, ("%s, first in frame %d"):format(row.shown, row.first))
        end
    end
    local out = {}
    if #list == 0 then
        out[1] = "This capture shows no server certificate.\n\n"
            .. "TLS 1.3 encrypts certificates, and resumed sessions do not repeat them."
    else
        out[1] = set(lines)
    end
    for _, reason in ipairs(reasons) do
        out[#out + 1] = table.concat(reason.rows, "\n") .. "\n" .. reason.text
    end
    local path = gui.folder()
    out[#out + 1] = ("Known cnf files: %d; %s."):format(
        gui.files(), path ~= "" and "cnf folder: " .. visible.text(path) or "no cnf folder is set")
    local problems = gui.problems()
    if #problems > 0 then
        out[#out + 1] = "Problems:\n  " .. table.concat(problems, "\n  ", 1, math.min(#problems, 100))
    end
    local copies = gui.copies()
    if #copies > 0 then
        out[#out + 1] = ("Skipped copies of cnf files: %d, such as %s. No phone requests files with such names.")
            :format(#copies, visible.text(copies[1]))
    end
    return table.concat(out, "\n\n") .. "\n"
end

--- Return the certHash lines for the head-ends of this capture, those with a mismatch first.
function M.lines(gui)
    local out, known = {}, {}
    for _, row in ipairs(rows(gui)) do
        local hash = row.chain[1].sha1
        if not known[hash] then
            known[hash] = true
            out[#out + 1] = ("<certHash%d>%s</certHash%d>"):format(#out + 1, hash, #out + 1)
        end
    end
    return out
end

local function save(gui, text)
    gui.ask("Save the list of certificates", function(path)
        local file, problem = gui.open(path, "w")
        if not file then
            gui.fail("certhash: " .. tostring(problem))
            return
        end
        file:write(text)
        file:close()
    end, "File")
end

local function open_overview(gui)
    local window = gui.window("Certificates in this capture")
    local order = 1
    local text = M.overview(gui, order)
    window:set(text)
    window:set_editable(false)
    window:add_button("Change order", function()
        order = order % #ORDERS + 1
        text = M.overview(gui, order)
        window:set(text)
    end)
    window:add_button("Save", function() save(gui, text) end)
    window:add_button("Copy", function() gui.copy(text) end)
end

local function copy_lines(gui)
    local lines = M.lines(gui)
    if #lines == 0 then
        gui.fail("certhash: this capture shows no server certificate.")
        return
    end
    -- A phone accepts ten hashes at most.
    local text = table.concat(lines, "\n", 1, math.min(#lines, 10))
    gui.copy(text)
    local window = gui.window("Copied to the clipboard")
    window:set(text .. "\n")
    window:set_editable(false)
end

local function reload(gui)
    gui.reload()
    local problems = gui.problems()
    if gui.folder() == "" then
        gui.fail("certhash: no cnf folder is set. Set it in Edit > Preferences > Protocols > CERTHASH.")
    elseif #problems > 0 then
        gui.fail("certhash: " .. table.concat(problems, "\n", 1, math.min(#problems, 10)))
    end
end

-- Return the field of the first certificate among the fields of a packet.
local function value_of(name, fields)
    for _, info in ipairs(fields) do
        if info.name == name then
            return info
        end
    end
    return nil
end

--- Register the menus.
function M.register(gui)
    -- Show any error of an action in a dialog.
    local function guarded(action)
        return function(...)
            local ok, problem = pcall(action, ...)
            if not ok then
                gui.fail("certhash: " .. tostring(problem))
            end
        end
    end
    gui.register_menu("certhash/Certificates in this capture", guarded(function() open_overview(gui) end))
    gui.register_menu("certhash/Copy certHash line", guarded(function() copy_lines(gui) end))
    gui.register_menu("certhash/Reload cnf folder", guarded(function() reload(gui) end))
    if not gui.register_packet_menu then
        return
    end
    local function with(field, use)
        return guarded(function(...)
            local info = value_of(field, { ... })
            if info then
                use(info)
            end
        end)
    end
    gui.register_packet_menu("certhash/Copy Base64 hash",
        with("certhash.sha1", function(info) gui.copy(info.value) end), "certhash.sha1")
    gui.register_packet_menu("certhash/Copy thumbprint",
        with("certhash.thumbprint", function(info) gui.copy(info.value:tohex(false)) end), "certhash.thumbprint")
    gui.register_packet_menu("certhash/Filter on this hash",
        with("certhash.sha1", function(info) gui.filter(('certhash.sha1 == "%s"'):format(info.value)) end), "certhash.sha1")
end

return M
